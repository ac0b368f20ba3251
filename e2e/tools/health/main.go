// Says of objects, read as JSON from stdin, what Argo CD, Flux and kstatus say of them.
//
// usage: health HEALTH.lua KUSTOMIZATION.yaml <OBJECTS.json    a list of objects; prints a list of verdicts
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// A verdict is what a tool says, in its own words.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type verdicts struct {
	Argo    verdict `json:"argo"`
	Flux    verdict `json:"flux"`
	Kstatus verdict `json:"kstatus"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: health HEALTH.lua KUSTOMIZATION.yaml <OBJECTS.json")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	checks, err := readKustomization(os.Args[2])
	if err != nil {
		return err
	}
	var objects []json.RawMessage
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return fmt.Errorf("stdin is no list of objects: %w", err)
	}
	said := []verdicts{}
	for _, bytes := range objects {
		// Its numbers are int64 and float64, as a Kubernetes client's are.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(bytes); err != nil {
			return fmt.Errorf("no object: %w", err)
		}
		one, err := say(string(script), checks, object)
		if err != nil {
			return fmt.Errorf("%s: %w", object.GetName(), err)
		}
		said = append(said, one)
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

func say(script string, checks checks, object *unstructured.Unstructured) (verdicts, error) {
	argo, err := argo(script, object)
	if err != nil {
		return verdicts{}, fmt.Errorf("Argo CD: %w", err)
	}
	flux, err := checks.say(object)
	if err != nil {
		return verdicts{}, fmt.Errorf("Flux: %w", err)
	}
	computed, err := status.Compute(object)
	if err != nil {
		return verdicts{}, fmt.Errorf("kstatus: %w", err)
	}
	return verdicts{argo, flux, verdict{computed.Status.String(), computed.Message}}, nil
}
