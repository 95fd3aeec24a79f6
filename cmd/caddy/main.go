// Command caddy is Caddy with the IllumiChat module and its sandbox. Where no API token is set, "caddy run" talks to a
// sandbox in its own process. So the examples run as they are, even on a machine that knows nothing of IllumiChat.
package main

import (
	"fmt"
	"os"

	_ "github.com/illumichat/caddy-illumichat"
	_ "github.com/illumichat/caddy-illumichat/store/redisstore"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() {
	if needsSandbox(os.Args, os.Getenv(tokenVariable)) {
		endpoint, err := startSandbox()
		if err != nil {
			fmt.Fprintf(os.Stderr, "starting the sandbox: %v\n", err)
			os.Exit(1)
		}
		fmt.Fprintf(os.Stderr, "%s is not set, so a sandbox at %s answers the chats that have 'endpoint {env.%s}', and no others; set the variable and %s to use the real API\n",
			tokenVariable, endpoint, endpointVariable, assistantVariable)
	}
	caddycmd.Main()
}
