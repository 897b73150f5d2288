# METADATA
# title: Rules of our own
# description: Holds for whom chaperone.toml binds the package to. What a rule denies, nothing else can permit.
package own

# No endpoint whose terms say that prompts train models. Terms that nobody has stated are "unknown" and pass here; with
# != "no" in place of == "yes" they would not.
deny contains {"code": "training", "message": message} if {
	input.endpoint.data_policy.training == "yes"
	message := sprintf("%s trains on prompts under the terms of its %s keys", [input.endpoint.provider, input.endpoint.credentials])
}
