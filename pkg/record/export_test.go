package record

import "testing"

// Seal signs what Record.Statement would never make.
func Seal(t testing.TB, statement []byte, key *Key) []byte {
	t.Helper()
	sealed, err := seal(statement, key)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}
