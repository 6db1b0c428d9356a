// Command validateproto writes buf/validate/validate.proto, the file that declares the field rules
// which the contract imports, into the folder given as its only argument.
//
// buf needs that file as text, but the Go module that the program runs with carries it only in compiled
// form. Printing it from there keeps three promises at once: no account at a registry, no copy in the
// repository that could drift, and the very version of the rules that the running program enforces.
//
// It is a module of its own so that the printer never enters the build list of the product.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"github.com/jhump/protoreflect/v2/protoprint"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: validateproto FOLDER")
		os.Exit(2)
	}
	err := write(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "validateproto:", err)
		os.Exit(1)
	}
}

// write prints the compiled file into folder. It goes through a temporary file and a rename, so that an
// interrupted run leaves nothing that a later run would take for finished.
func write(folder string) error {
	file := validate.File_buf_validate_validate_proto
	target := filepath.Join(folder, filepath.FromSlash(file.Path()))
	err := os.MkdirAll(filepath.Dir(target), 0o755)
	if err != nil {
		return fmt.Errorf("create folder of %s: %w", target, err)
	}
	temporary, err := os.CreateTemp(filepath.Dir(target), ".validate-*")
	if err != nil {
		return fmt.Errorf("create temporary file beside %s: %w", target, err)
	}
	defer os.Remove(temporary.Name())

	printer := protoprint.Printer{}
	err = printer.PrintProtoFile(file, temporary)
	if err != nil {
		temporary.Close()
		return fmt.Errorf("print %s: %w", file.Path(), err)
	}
	err = temporary.Chmod(0o644)
	if err != nil {
		temporary.Close()
		return fmt.Errorf("make %s readable: %w", temporary.Name(), err)
	}
	err = temporary.Close()
	if err != nil {
		return fmt.Errorf("close %s: %w", temporary.Name(), err)
	}
	err = os.Rename(temporary.Name(), target)
	if err != nil {
		return fmt.Errorf("put %s in place: %w", target, err)
	}
	return nil
}
