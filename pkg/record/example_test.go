package record_test

import (
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/record"
)

// examplePromotion and exampleVerification are what docs/records.md shows.
func examplePromotion() record.Record {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("4a", 32)}
	return record.Record{
		Image: "deepsky/awl-deepsky-hello", Digest: digest,
		Promotion: &record.Promotion{
			Kind:     record.Forced,
			From:     "registry-testing.example.com/deepsky/awl-deepsky-hello:1.0",
			To:       "registry.example.com/deepsky/awl-deepsky-hello:1.0",
			Digest:   digest.String(),
			Replaced: "sha256:" + strings.Repeat("17", 32),
			Backup:   "registry.example.com/deepsky/awl-deepsky-hello:1.0-replaced-17171717",
			Reason:   "1.0 was built without the fix",
			Person:   "jdoe",
			Time:     time.Date(2026, 5, 4, 14, 30, 12, 0, time.FixedZone("CEST", 7200)),
			Pipeline: "https://gitlab.example.com/deepsky/hello/-/pipelines/42",
			Tool:     "dockline promote 1.4.0",
		},
	}
}

func exampleVerification() record.Record {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("4a", 32)}
	return record.Record{
		Image: "deepsky/awl-deepsky-hello", Digest: digest,
		Verification: &record.Verification{
			Environment: "staging",
			Verdict:     record.Right,
			Digest:      digest.String(),
			Time:        time.Date(2026, 5, 3, 9, 0, 41, 0, time.UTC),
			Since:       time.Date(2026, 5, 3, 8, 59, 2, 0, time.UTC),
			URL:         "https://hello-staging.apps.example.com/",
			Person:      "jdoe",
			Pipeline:    "https://gitlab.example.com/deepsky/hello/-/pipelines/41",
			Tool:        "dockline verify 1.4.0",
		},
	}
}

// A record is written as in-toto has it, and read with the keys that are believed.
func Example() {
	statement, err := exampleVerification().Statement()
	if err != nil {
		fmt.Println(err)
		return
	}
	read, err := record.Read(statement, nil)
	fmt.Println(read.Image, "was", read.Verification.Verdict, "in", read.Verification.Environment)
	fmt.Printf("signed by a known key: %t, error: %v\n", read.Key != "", err)
	// Output:
	// deepsky/awl-deepsky-hello was right in staging
	// signed by a known key: false, error: <nil>
}
