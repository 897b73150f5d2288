package account

// Imagine is the principal of a key that nobody has: what holds for all keys of an organisation, or of one of its teams,
// before a key adds its own. It authenticates nobody.
func Imagine(org *Organisation, team *Team) *Principal {
	key := &Key{Organisation: org.ID, DataClass: DataClasses[0]}
	if team != nil {
		key.Team = team.ID
	}
	return principal(org, team, key)
}
