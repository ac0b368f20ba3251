package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	luajson "layeh.com/gopher-json"
)

// What a script may say (Argo CD's docs/operator-manual/health.md).
var healths = []string{"Healthy", "Progressing", "Degraded", "Suspended"}

// argo says what Argo CD makes of object by a script of argocd-cm: in the order of gitops-engine/pkg/health, with the Lua of util/lua.
func argo(script string, object *unstructured.Unstructured) (verdict, error) {
	if object.GetDeletionTimestamp() != nil {
		return verdict{"Progressing", "Pending deletion"}, nil
	}
	// Without resource.customizations.useOpenLibs there are these, and not string, math or io. Argo CD gives os, too: its clock and no more.
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		protected := lua.P{Fn: state.NewFunction(open), Protect: true}
		if err := state.CallByParam(protected, lua.LString(name)); err != nil {
			return verdict{}, err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(ctx)

	text, err := json.Marshal(object.Object)
	if err != nil {
		return verdict{}, err
	}
	value, err := luajson.Decode(state, text)
	if err != nil {
		return verdict{}, err
	}
	state.SetGlobal("obj", value)
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return verdict{}, fmt.Errorf("the script returns no table, but %s", returned.Type())
	}
	encoded, err := luajson.Encode(returned)
	if err != nil {
		return verdict{}, err
	}
	var said verdict
	if err := json.Unmarshal(encoded, &said); err != nil {
		return verdict{}, err
	}
	if !slices.Contains(healths, said.Status) {
		return verdict{}, errors.New("the script says a health that Argo CD does not know: " + said.Status)
	}
	return said, nil
}
