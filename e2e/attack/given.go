package attack

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// Given is what the attacks know of the container that they are in. Secrets are told in such a way that neither the
// Dockerfile nor an argument holds one.
type Given struct {
	Seed     string // what all secrets of the container begin with
	Registry string // HOST:PORT
	Results  string // folder of the step's results
	WorkTree string // the build context
}

// Secret is the value of one of the container's secrets.
func (g Given) Secret(name string) string { return g.Seed + "-of-" + name }

// Words is the form of it that a command line holds.
func (g Given) Words() string {
	content, err := json.Marshal(g)
	if err != nil {
		panic(err) // strings alone
	}
	return hex.EncodeToString(content)
}

func parseGiven(words string) (Given, error) {
	var given Given
	content, err := hex.DecodeString(words)
	if err == nil {
		err = json.Unmarshal(content, &given)
	}
	if err != nil {
		return Given{}, fmt.Errorf("reading what the attack is given: %w", err)
	}
	return given, nil
}
