package member

import (
	"crypto/tls"
	"fmt"
	"slices"
)

// AllowClassic lets a member's own systems, officers, auditors and operators that know no post-quantum key exchange (OpenSSL
// before 3.5, gRPC for Python before the middle of 2026) connect to its node: settings are those of ServerTLS. Nodes, the
// own one included, are held to the hybrid exchange as before, so nothing between members becomes readable later. What such
// a caller sends may: a member that allows this decides that for its own network.
func AllowClassic(settings *tls.Config) *tls.Config {
	outer := settings.Clone()
	inner := settings.GetConfigForClient
	outer.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		config, err := inner(hello)
		if err != nil {
			return nil, err
		}
		config = config.Clone()
		config.CurvePreferences = append(slices.Clone(config.CurvePreferences), tls.X25519, tls.CurveP256)
		verify := config.VerifyConnection
		config.VerifyConnection = func(state tls.ConnectionState) error {
			err := verify(state)
			if err != nil {
				return err
			}
			return refuseClassicNode(state)
		}
		return config, nil
	}
	return outer
}

// refuseClassicNode holds nodes to the hybrid key exchange.
func refuseClassicNode(state tls.ConnectionState) error {
	if slices.Contains(baseTLS().CurvePreferences, state.CurveID) {
		return nil
	}
	identity, err := PeerIdentity(state)
	if err != nil {
		return err
	}
	if identity.Kind == KindNode {
		return fmt.Errorf("%w: a node must offer a post-quantum key exchange, %s offered %s at most", ErrWrongPeer, identity.Member, state.CurveID)
	}
	return nil
}
