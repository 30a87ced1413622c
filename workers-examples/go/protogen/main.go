// Command protogen makes the Go stubs of the Bailiwick protos, with nothing but the Go toolchain: a compiler in Go and
// the two plugins that go.mod pins as tools. Its output is never committed.
//
//	go run ./protogen PROTO_DIR OUT_DIR GO_PACKAGE
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/pluginpb"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: protogen PROTO_DIR OUT_DIR GO_PACKAGE")
		os.Exit(64)
	}
	if err := generate(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "protogen:", err)
		os.Exit(1)
	}
}

func generate(protos, out, goPackage string) error {
	paths, err := filepath.Glob(filepath.Join(protos, "bailiwick", "v1", "*.proto"))
	if err != nil || len(paths) == 0 {
		return fmt.Errorf("no protos under %s", protos)
	}
	request := &pluginpb.CodeGeneratorRequest{}
	parameters := []string{"paths=source_relative"}
	for _, path := range paths {
		name := "bailiwick/v1/" + filepath.Base(path)
		request.FileToGenerate = append(request.FileToGenerate, name)
		// The protos name no language, so the Go package of each comes from here.
		parameters = append(parameters, "M"+name+"="+goPackage+";bailiwickv1")
	}
	request.Parameter = proto.String(strings.Join(parameters, ","))
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{protos}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), request.FileToGenerate...)
	if err != nil {
		return err
	}
	collect(files, request)
	for _, plugin := range []string{"protoc-gen-go", "protoc-gen-go-grpc"} {
		if err := run(plugin, request, out); err != nil {
			return fmt.Errorf("%s: %w", plugin, err)
		}
	}
	return nil
}

// collect lists every file after the files it imports, as plugins demand.
func collect(files linker.Files, request *pluginpb.CodeGeneratorRequest) {
	var seen []string
	var visit func(file protoreflect.FileDescriptor)
	visit = func(file protoreflect.FileDescriptor) {
		if slices.Contains(seen, file.Path()) {
			return
		}
		seen = append(seen, file.Path())
		for i := range file.Imports().Len() {
			visit(file.Imports().Get(i).FileDescriptor)
		}
		request.ProtoFile = append(request.ProtoFile, protoutil.ProtoFromFileDescriptor(file))
	}
	for _, file := range files {
		visit(file)
	}
}

func run(plugin string, request *pluginpb.CodeGeneratorRequest, out string) error {
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	command := exec.Command("go", "tool", plugin)
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	output, err := command.Output()
	if err != nil {
		return err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(output, response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, file := range response.File {
		path := filepath.Join(out, filepath.FromSlash(file.GetName()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}
