package client

import (
	"context"

	ententev1 "entente.example/entente/proto/entente/v1"
)

// Permit lets a holder of an own record under H2 pass on what it made from it, or export it. It returns the entries that hold
// the permission: one for each form in which the holder has the record.
func (c *Client) Permit(ctx context.Context, request *ententev1.PermitRequest) ([]*ententev1.EntryRef, error) {
	response, err := c.Intake().Permit(ctx, request)
	if err != nil {
		return nil, failed("permit", err)
	}
	return response.GetEntries(), nil
}

// RevokePermission takes back the permission that stands in an entry.
func (c *Client) RevokePermission(ctx context.Context, request *ententev1.RevokePermissionRequest) error {
	_, err := c.Intake().RevokePermission(ctx, request)
	return failed("revoke the permission", err)
}

// ListPermissions answers the permissions that the own member has given or, where the request says so, received.
func (c *Client) ListPermissions(ctx context.Context, request *ententev1.ListPermissionsRequest) ([]*ententev1.HeldPermission, error) {
	response, err := c.Intake().ListPermissions(ctx, request)
	if err != nil {
		return nil, failed("list permissions", err)
	}
	return response.GetPermissions(), nil
}
