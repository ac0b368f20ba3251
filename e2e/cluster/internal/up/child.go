// Children: this binary again under another command, logging to a file, gone when the supervisor is.
package up

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
)

type child struct {
	name string
	log  string
	cmd  *exec.Cmd
	// asked says that it was told to go; gone is closed when it is.
	asked atomic.Bool
	gone  chan struct{}
}

// ended says that a child is no more, though nobody asked it to go.
type ended struct {
	child *child
	err   error
}

func (e ended) Error() string {
	how := "with exit status 0"
	if e.err != nil {
		how = fmt.Sprintf("(%v)", e.err)
	}
	return fmt.Sprintf("%s ended %s; the end of %s:\n%s", e.child.name, how, e.child.log, tail(e.child.log))
}

// start starts this binary as its component called name. It must be called from one locked thread that outlives the child: the kernel ties
// "die with your parent" to the thread.
func start(name string, args []string, logs string, unasked func(ended)) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("failed to find the program's own path: %w", err)
	}
	return startProgram(name, exec.Command(self, append([]string{name}, args...)...), logs, unasked)
}

// startProgram starts any program in the same way.
func startProgram(name string, cmd *exec.Cmd, logs string, unasked func(ended)) (*child, error) {
	c := &child{name: name, log: filepath.Join(logs, name+".log"), cmd: cmd, gone: make(chan struct{})}
	log, err := os.Create(c.log)
	if err != nil {
		return nil, fmt.Errorf("failed to open the log of %s: %w", name, err)
	}
	defer log.Close()

	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.SysProcAttr = attributes()
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("failed to start %s: %w", name, err)
	}
	go func() {
		err := c.cmd.Wait()
		if !c.asked.Load() {
			unasked(ended{child: c, err: err})
		}
		close(c.gone)
	}()
	return c, nil
}

// kill is no ask: the API server lingers for a minute over open watches, and nobody wants the data.
func (c *child) kill() error {
	c.asked.Store(true)
	if err := c.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("failed to end %s: %w", c.name, err)
	}
	return nil
}

const (
	tailBytes = 8 << 10
	tailLines = 20
)

// tail returns the last lines of a log, indented.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Sprintf("    (%v)", err)
	}
	defer file.Close()
	if size, err := file.Seek(0, io.SeekEnd); err == nil {
		_, _ = file.Seek(max(0, size-tailBytes), io.SeekStart)
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return fmt.Sprintf("    (%v)", err)
	}
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return "    (nothing)"
	}
	lines := bytes.Split(text, []byte("\n"))
	lines = lines[max(0, len(lines)-tailLines):]
	return "    " + string(bytes.Join(lines, []byte("\n    ")))
}
