package record_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/record"
)

// What docs/records.md shows of a promotion.
func ExampleRecord_Statement_promotion() {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("4a", 32)}
	statement, err := record.Record{
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
	}.Statement()
	show(statement, err)
	// Output:
	// {
	//   "_type": "https://in-toto.io/Statement/v1",
	//   "subject": [
	//     {
	//       "name": "deepsky/awl-deepsky-hello",
	//       "digest": {
	//         "sha256": "4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a"
	//       }
	//     }
	//   ],
	//   "predicateType": "https://dockline.example.com/promotion/v1",
	//   "predicate": {
	//     "promotion": "forced",
	//     "from": "registry-testing.example.com/deepsky/awl-deepsky-hello:1.0",
	//     "to": "registry.example.com/deepsky/awl-deepsky-hello:1.0",
	//     "digest": "sha256:4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a",
	//     "replaced": "sha256:1717171717171717171717171717171717171717171717171717171717171717",
	//     "backup": "registry.example.com/deepsky/awl-deepsky-hello:1.0-replaced-17171717",
	//     "reason": "1.0 was built without the fix",
	//     "person": "jdoe",
	//     "time": "2026-05-04T12:30:12Z",
	//     "pipeline": "https://gitlab.example.com/deepsky/hello/-/pipelines/42",
	//     "tool": "dockline promote 1.4.0"
	//   }
	// }
}

// What docs/records.md shows of a verification.
func ExampleRecord_Statement_verification() {
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("4a", 32)}
	statement, err := record.Record{
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
	}.Statement()
	show(statement, err)
	// Output:
	// {
	//   "_type": "https://in-toto.io/Statement/v1",
	//   "subject": [
	//     {
	//       "name": "deepsky/awl-deepsky-hello",
	//       "digest": {
	//         "sha256": "4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a"
	//       }
	//     }
	//   ],
	//   "predicateType": "https://dockline.example.com/verification/v1",
	//   "predicate": {
	//     "environment": "staging",
	//     "verdict": "right",
	//     "digest": "sha256:4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a",
	//     "time": "2026-05-03T09:00:41Z",
	//     "since": "2026-05-03T08:59:02Z",
	//     "url": "https://hello-staging.apps.example.com/",
	//     "person": "jdoe",
	//     "pipeline": "https://gitlab.example.com/deepsky/hello/-/pipelines/41",
	//     "tool": "dockline verify 1.4.0"
	//   }
	// }
}

func show(statement []byte, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	var shown bytes.Buffer
	_ = json.Indent(&shown, statement, "", "  ")
	fmt.Println(shown.String())
}
