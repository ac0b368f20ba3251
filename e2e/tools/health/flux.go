package main

import (
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// A check is one of spec.healthCheckExprs of a Kustomization.
type check struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Current    string `json:"current"`
	InProgress string `json:"inProgress"`
	Failed     string `json:"failed"`
}

// checks are those of one Kustomization.
type checks []check

// readKustomization reads the checks of the Kustomization at path.
func readKustomization(path string) (checks, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var kustomization struct {
		Spec struct {
			HealthCheckExprs checks `json:"healthCheckExprs"`
		} `json:"spec"`
	}

	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return kustomization.Spec.HealthCheckExprs, nil
}

// say is what Flux makes of object by the check for its kind: in the order of StatusEvaluator in fluxcd/pkg/runtime/cel, which itself would
// be compiled with a whole Kubernetes client.
func (c checks) say(object *unstructured.Unstructured) (verdict, error) {
	kind := object.GroupVersionKind().GroupKind()
	for _, check := range c {
		if schema.FromAPIVersionAndKind(check.APIVersion, check.Kind).GroupKind() != kind {
			continue
		}
		observed, ok, err := unstructured.NestedInt64(object.Object, "status", "observedGeneration")
		if err == nil && ok && observed != object.GetGeneration() {
			return verdict{Status: status.InProgressStatus.String()}, nil
		}
		for _, one := range []struct {
			expression string
			status     status.Status
		}{
			{check.InProgress, status.InProgressStatus},
			{check.Failed, status.FailedStatus},
			{check.Current, status.CurrentStatus},
		} {
			if one.expression == "" {
				continue
			}
			holds, err := evaluate(one.expression, object.Object)
			if err != nil {
				return verdict{}, fmt.Errorf("%s: %w", one.expression, err)
			}
			if holds {
				return verdict{Status: one.status.String()}, nil
			}
		}
		return verdict{Status: status.InProgressStatus.String()}, nil
	}
	return verdict{}, fmt.Errorf("no expressions are for %s", kind)
}

// evaluate says whether expression holds, in the environment of NewExpression in fluxcd/pkg/runtime/cel: parsed and not checked, the object's
// fields are its variables.
func evaluate(expression string, object map[string]any) (bool, error) {
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),
		ext.Encoders(),
	)
	if err != nil {
		return false, err
	}
	parsed, issues := environment.Parse(expression)
	if issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := environment.Program(parsed, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return false, err
	}
	value, _, err := program.Eval(object)
	if err != nil {
		return false, err
	}
	holds, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("it is %s, and not true or false", value.Type().TypeName())
	}
	return bool(holds), nil
}
