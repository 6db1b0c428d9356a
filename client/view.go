package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// viewAttempts is how often View begins anew where the view changes while it is read.
const viewAttempts = 5

// View is a whole merged view, collected from its pages.
type View struct {
	// Info describes it. Its counts are those of the lists.
	Info *ententev1.ViewInfo
	// Entities in order of id.
	Entities []*ententev1.ViewEntity
	// Associations in order of id.
	Associations []*ententev1.ViewAssociation
}

// errViewChanged says that pages belong to different views.
var errViewChanged = errors.New("the view changed while it was read")

// View asks for the whole view of the caller's member, for the given consultation. All of it belongs to one state: where the
// view changes too much while it is read, it is read anew, five times at most.
func (c *Client) View(ctx context.Context, consultation *ententev1.Consultation) (*View, error) {
	var err error
	for range viewAttempts {
		var view *View
		view, err = c.viewOnce(ctx, consultation)
		if err == nil {
			return view, nil
		}
		if !errors.Is(err, errViewChanged) && status.Code(err) != codes.FailedPrecondition {
			return nil, failed("read the view", err)
		}
	}
	return nil, failed("read the view", fmt.Errorf("given up after %d attempts: %w", viewAttempts, err))
}

func (c *Client) viewOnce(ctx context.Context, consultation *ententev1.Consultation) (*View, error) {
	view := &View{}
	request := &ententev1.GetViewRequest{Consultation: consultation}
	for {
		page, err := c.Network().GetView(ctx, request)
		if err != nil {
			return nil, err
		}
		if view.Info == nil {
			view.Info = page.GetView()
		}
		if !bytes.Equal(view.Info.GetHash(), page.GetView().GetHash()) {
			return nil, errViewChanged
		}
		view.Entities = append(view.Entities, page.GetEntities()...)
		view.Associations = append(view.Associations, page.GetAssociations()...)
		token := page.GetNextPageToken()
		if len(token) == 0 {
			return view, view.complete()
		}
		if bytes.Equal(token, request.GetPageToken()) {
			return nil, errors.New("the node gave the same page token twice")
		}
		request.PageToken = token
	}
}

// complete checks the counts, so that a view with a part missing is never taken for a whole one.
func (v *View) complete() error {
	if uint64(len(v.Entities)) == v.Info.GetEntityCount() && uint64(len(v.Associations)) == v.Info.GetAssociationCount() {
		return nil
	}
	return fmt.Errorf("the pages hold %d entities and %d associations, the view has %d and %d",
		len(v.Entities), len(v.Associations), v.Info.GetEntityCount(), v.Info.GetAssociationCount())
}

// Entity asks for one merged entity with its associations, by its id or by the id of any of its records, 16 bytes.
func (c *Client) Entity(ctx context.Context, consultation *ententev1.Consultation, handle []byte) (*ententev1.GetEntityResponse, error) {
	response, err := c.Network().GetEntity(ctx, &ententev1.GetEntityRequest{Consultation: consultation, Handle: handle})
	if err != nil {
		return nil, failed(fmt.Sprintf("get entity %x", handle), err)
	}
	return response, nil
}
