package main

import (
	"errors"
	"net/url"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// newEtcdCommand is an etcd whose data nobody will miss.
func newEtcdCommand() *cobra.Command {
	config := embed.NewConfig()
	config.UnsafeNoFsync = true
	config.LogLevel = "warn"
	config.ListenPeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}} // there are no peers
	var listen string
	command := &cobra.Command{
		Use:  "etcd",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			client := url.URL{Scheme: "http", Host: listen}
			config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
			etcd, err := embed.StartEtcd(config)
			if err != nil {
				return err
			}
			defer etcd.Close()
			select {
			case err := <-etcd.Err():
				return err
			case <-etcd.Server.StopNotify():
				return errors.New("it has stopped by itself")
			case <-command.Context().Done():
				return nil
			}
		},
	}
	command.Flags().StringVar(&config.Dir, "data-dir", "", "folder for the data")
	command.Flags().StringVar(&listen, "listen", "", "address for clients, plain http")
	return command
}
