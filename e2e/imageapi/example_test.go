package imageapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"dockline/e2e/imageapi"
)

// A test holds a cluster in process, and one whose rights it can choose.
func Example() {
	cluster := imageapi.New(imageapi.Options{
		Namespaces: []string{"dev"},
		Users: []imageapi.User{{Token: "t0ken", Name: "system:serviceaccount:dev:dockline", Rules: []imageapi.Rule{
			{Verbs: []string{"get"}, Resources: []string{"imagestreams"}, Namespaces: []string{"dev"}},
		}}},
	})
	defer cluster.Close()
	server := httptest.NewServer(cluster)
	defer server.Close()

	for _, namespace := range []string{"dev", "prod"} {
		request, err := http.NewRequest(http.MethodGet,
			server.URL+"/apis/image.openshift.io/v1/namespaces/"+namespace+"/imagestreams/hello-app", nil)
		if err != nil {
			panic(err)
		}
		request.Header.Set("Authorization", "Bearer t0ken")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			panic(err)
		}
		fmt.Println(namespace, response.Status)
		_ = response.Body.Close()
	}
	// Output:
	// dev 404 Not Found
	// prod 403 Forbidden
}
