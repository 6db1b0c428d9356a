package client

import (
	"context"
	"errors"
	"io"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// errCutShort is a call that ended in order without what it is for.
var errCutShort = errors.New("the node ended the call without a result")

// Backup has the node write a checked copy of its data file into its folder for backups, under a name (empty: one that the
// node makes up), and waits for it. progress (may be nil) is told bytes written and to write; at the end the copy is still
// to be checked. For operators. The copy is on the node's disk and does not contain the sealing key. What is returned has
// the result, and its size as total_bytes.
func (c *Client) Backup(ctx context.Context, name string, progress func(written, total uint64)) (*ententev1.BackupResponse, error) {
	const doing = "back up the data file"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := c.Admin().Backup(ctx, &ententev1.BackupRequest{Name: name})
	if err != nil {
		return nil, failed(doing, err)
	}
	var result *ententev1.BackupResponse
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, failed(doing, err)
		}
		if response.GetResult() != nil {
			result = response
			continue
		}
		if progress != nil {
			progress(response.GetWrittenBytes(), response.GetTotalBytes())
		}
	}
	if result == nil {
		return nil, failed(doing, errCutShort)
	}
	return result, nil
}

// Reseal has the node read its sealing keys again and seal anew all that an older key has sealed, and waits for it.
// progress (may be nil) is told values looked at, values there are, and values sealed anew. For operators. It returns how
// many values were sealed anew; if it is cut short, calling again goes on.
func (c *Client) Reseal(ctx context.Context, progress func(done, total, resealed uint64)) (uint64, error) {
	const doing = "seal the data file anew"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call, err := c.Admin().Reseal(ctx, &ententev1.ResealRequest{})
	if err != nil {
		return 0, failed(doing, err)
	}
	last := &ententev1.ResealResponse{Total: 1} // nothing was done yet
	for {
		response, err := call.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return last.GetResealed(), failed(doing, err)
		}
		last = response
		if progress != nil {
			progress(last.GetDone(), last.GetTotal(), last.GetResealed())
		}
	}
	if last.GetDone() != last.GetTotal() {
		return last.GetResealed(), failed(doing, errCutShort)
	}
	return last.GetResealed(), nil
}
