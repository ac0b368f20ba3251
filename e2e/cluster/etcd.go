// A single etcd member for data that nobody will miss.
package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

func runEtcd(args []string) int {
	flags := flag.NewFlagSet("etcd", flag.ExitOnError)
	dir := flags.String("data-dir", "", "where the data goes")
	client := flags.String("listen", "127.0.0.1:2379", "the address for clients")
	_ = flags.Parse(args)

	if err := serveEtcd(*dir, *client); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveEtcd(dir, client string) error {
	clients := []url.URL{{Scheme: "http", Host: client}}
	// No peer will ever call: any port will do, and nobody needs to know it.
	peers := []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}

	// Scratch data: no fsync, and 4 MB of log at a time where etcd would set 64 MB aside, twice.
	wal.SegmentSizeBytes = 4 << 20
	cfg := embed.NewConfig()
	cfg.Dir = dir
	cfg.UnsafeNoFsync = true
	cfg.LogLevel = "warn"
	cfg.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration // the embedded default is 0: a line for each request
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = clients, clients
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = peers, peers
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	// The supervisor holds the port, bound but not listening.
	cfg.SocketOpts.ReusePort = true
	// A lone member elects itself after one election timeout.
	cfg.TickMs, cfg.ElectionMs = 20, 100

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("failed to start etcd: %w", err)
	}
	return <-e.Err()
}
