package client

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWhatANodeSaysDoesNotSteerTheTerminal(t *testing.T) {
	got := failed("get view", status.Error(codes.NotFound, "no\x1b]0;title\a such\u202e\nview"))
	if got.Error() != "get view: no ]0;title  such  view" {
		t.Errorf("%q", got.Error())
	}
}
