package wire

// nearest returns the one of names that takes the fewest insertions, removals and replacements of bytes to become from
// name; the first where several do. Long names are compared by their beginning.
func nearest(name string, names []string) string {
	name = name[:min(len(name), 64)]
	best, least := "", 1<<30
	row := make([]int, len(name)+1)
	for _, n := range names {
		for i := range row {
			row[i] = i
		}
		for j := range len(n) {
			diagonal := row[0]
			row[0] = j + 1
			for i := range len(name) {
				replace := diagonal
				if name[i] != n[j] {
					replace++
				}
				diagonal = row[i+1]
				row[i+1] = min(replace, row[i]+1, row[i+1]+1)
			}
		}
		if d := row[len(name)]; d < least {
			best, least = n, d
		}
	}
	return best
}
