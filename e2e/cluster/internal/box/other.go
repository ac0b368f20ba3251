//go:build !linux

// Elsewhere there are no such namespaces, and no node.
package box

import (
	"errors"
	"io"
)

var errLinux = errors.New("Linux: a node needs its namespaces and cgroups")

func Run([]string, io.Reader, io.Writer, io.Writer) (int, error) { return 0, errLinux }

func Enter(...string) (Box, error) { return Box{}, errLinux }

func Missing() []string { return []string{errLinux.Error()} }

func Try(string) error { return errLinux }

func Snapshotter(string) (string, error) { return "", errLinux }
