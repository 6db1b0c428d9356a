// Command record stands between two nodes and writes down what they say to each other: it takes calls with the key of the
// one that is called, and makes them again with the key of the one that calls. It has both, of a federation that is
// nowhere in use; who has only its own key cannot do this, and a node that is talked to notices nothing.
//
//	record LISTEN CALLED-FOLDER TARGET CALLER-FOLDER > conversation.jsonl
//
// Each line is one message: the number of the call, its method, who sent it, and its bytes as they were on the wire.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/status"
)

// line is one message of a conversation.
type line struct {
	Call   int    `json:"call"`
	Method string `json:"method"`
	From   string `json:"from"` // caller or called
	Bytes  []byte `json:"bytes"`
}

// frame is a message that is passed on as it is.
type frame struct{ bytes []byte }

type rawCodec struct{}

func (rawCodec) Name() string                  { return "proto" }
func (rawCodec) Marshal(v any) ([]byte, error) { return v.(*frame).bytes, nil }
func (rawCodec) Unmarshal(data []byte, v any) error {
	v.(*frame).bytes = append([]byte{}, data...)
	return nil
}

type recorder struct {
	target *grpc.ClientConn

	mu    sync.Mutex // covers calls and out
	calls int
	out   *json.Encoder
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: record LISTEN CALLED-FOLDER TARGET CALLER-FOLDER")
		os.Exit(2)
	}
	err := serve(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func serve(listen, called, target, caller string) error {
	server, err := credentialsOf(called)
	if err != nil {
		return err
	}
	client, err := credentialsOf(caller)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(client),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		return err
	}
	lis, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	r := &recorder{target: conn, out: json.NewEncoder(os.Stdout)}
	s := grpc.NewServer(grpc.Creds(server), grpc.ForceServerCodec(encoding.Codec(rawCodec{})), grpc.UnknownServiceHandler(r.pass))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, s.Stop)
	return s.Serve(lis)
}

// credentialsOf are those of a node. Nobody is verified: the nodes on both sides do that, and it is they that are recorded.
func credentialsOf(folder string) (credentials.TransportCredentials, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "node.pem"), filepath.Join(folder, "node.key"))
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13,
	}), nil
}

func (r *recorder) pass(_ any, incoming grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(incoming)
	r.mu.Lock()
	r.calls++
	call := r.calls
	r.mu.Unlock()
	outgoing, err := r.target.NewStream(incoming.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	go func() { // ends with the call
		for {
			var f frame
			err := incoming.RecvMsg(&f)
			if err != nil {
				break
			}
			r.note(call, method, "caller", f.bytes)
			_ = outgoing.SendMsg(&f) // its failure shows in RecvMsg below
		}
		_ = outgoing.CloseSend()
	}()
	for {
		var f frame
		err := outgoing.RecvMsg(&f)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return status.Error(codes.Code(status.Code(err)), status.Convert(err).Message())
		}
		r.note(call, method, "called", f.bytes)
		err = incoming.SendMsg(&f)
		if err != nil {
			return err
		}
	}
}

func (r *recorder) note(call int, method, from string, bytes []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Encode(line{Call: call, Method: method, From: from, Bytes: bytes}) // to a file; what is short fails the test
}
