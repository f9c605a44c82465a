// Command bulla-token opens or seals one token or payload per line of its input: `bulla-token open [KEYS]` and
// `bulla-token seal [KEYS]`.
//
// KEYS is an export file. Without it, the keys come from the variable BULLA_EXPORT. The exit code is 4 if any line was
// refused.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	bulla "github.com/bulla-sessions/bulla/clients/go"
)

// ring is a *bulla.Keys or a *bulla.KeyFile.
type ring interface {
	bulla.Opener
	Seal(payload []byte, now time.Time) (string, error)
}

func main() {
	arguments := os.Args[1:]
	if len(arguments) < 1 || len(arguments) > 2 || arguments[0] != "open" && arguments[0] != "seal" {
		fmt.Fprintln(os.Stderr, "usage: bulla-token open|seal [KEYS] < lines")
		os.Exit(2)
	}
	code, err := run(arguments[0], arguments[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bulla-token:", err)
		code = 1
	}
	os.Exit(code)
}

func run(command string, file []string) (int, error) {
	keys, err := load(file)
	if err != nil {
		return 0, err
	}
	output := bufio.NewWriter(os.Stdout)
	defer output.Flush()
	input := bufio.NewReader(os.Stdin)
	code := 0
	for {
		line, err := input.ReadString('\n')
		if line == "" && err == io.EOF {
			return code, nil
		}
		if err != nil && err != io.EOF {
			return 0, err
		}
		// Split at LF only, so that a token with a CR is refused and not repaired.
		said, err := say(keys, command, strings.TrimSuffix(line, "\n"))
		if err != nil {
			code = 4
			said = "refused: " + reason(err)
		}
		fmt.Fprintln(output, said)
	}
}

func load(file []string) (ring, error) {
	if len(file) == 0 {
		return bulla.KeysFromEnv()
	}
	return bulla.NewKeyFile(file[0])
}

func say(keys ring, command, line string) (string, error) {
	if command == "seal" {
		return keys.Seal([]byte(line), time.Now())
	}
	opened, err := keys.Open(line, time.Now())
	return string(opened.Text), err
}

func reason(err error) string {
	var refused bulla.Refused
	if errors.As(err, &refused) {
		return string(refused)
	}
	return err.Error()
}
