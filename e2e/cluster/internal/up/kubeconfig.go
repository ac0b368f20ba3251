// Kubeconfigs that stand alone: every certificate and key is inside.
package up

import (
	"encoding/json"
	"fmt"
)

// kubeconfig is written as JSON, which every reader of YAML reads.
func kubeconfig(server string, ca []byte, user string, credential pair) ([]byte, error) {
	text, err := json.MarshalIndent(object{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []object{{
			"name":    "e2e",
			"cluster": object{"server": server, "certificate-authority-data": ca},
		}},
		"users": []object{{
			"name": user,
			"user": object{"client-certificate-data": credential.cert, "client-key-data": credential.key},
		}},
		"contexts": []object{{
			"name":    "e2e",
			"context": object{"cluster": "e2e", "user": user},
		}},
		"current-context": "e2e",
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("failed to write the kubeconfig of %s: %w", user, err)
	}
	return append(text, '\n'), nil
}
