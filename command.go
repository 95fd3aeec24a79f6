package illumichat

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/config"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "illumichat",
		Short: "Checks chats of the illumichat directive",
		CobraFunc: func(c *cobra.Command) {
			c.AddCommand(newCheckCommand())
			c.RunE = helpUnlessMisspelled
		},
	})
}

// helpUnlessMisspelled prints the help of a command, or returns an error if there are arguments. Without it, cobra takes a
// misspelled subcommand for success.
func helpUnlessMisspelled(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return errors.New("illumichat has the subcommand `check` and no other: caddy illumichat check https://example.com/api/chat-proxy")
	}
	return c.Help()
}

// checkFlags are the flags of `caddy illumichat check`.
type checkFlags struct {
	config, adapter string
	site            site.Options
	json            bool
}

func newCheckCommand() *cobra.Command {
	var flags checkFlags
	c := &cobra.Command{
		Use:   "check <url> | check --config <file>",
		Short: "Reports what is wrong with a chat, at a running site or in a config",
		Long: `
With a URL, sends requests to a running site as browsers and strangers would, and
reports what it found, why it matters and what to do. It sends one chat, another one
with forged addresses if the site shows a limit, and with resume or --admin one that
it cuts off. They cost as much as a visitor's; --no-chat leaves them out. With
--insecure, it accepts any certificate. With --admin, it also asks Caddy's admin API
when answers begin, and whether the upstream request ends when a visitor disconnects.

With --config, reads a config as Caddy would, and reports what keeps requests from
the chat, what is open to strangers and what is missing. It starts nothing and sends
nothing.

It never sends or prints the API token. The exit status is 1 if something is wrong,
and 0 if all is well or there are only warnings.`,
		Example: `  caddy illumichat check --config /etc/caddy/Caddyfile
  caddy illumichat check https://example.com/api/chat-proxy --no-chat`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			c.SilenceUsage = true
			return flags.run(c, args)
		},
	}
	f := c.Flags()
	f.StringVarP(&flags.config, "config", "c", "", "Check this config file instead of a site")
	f.StringVarP(&flags.adapter, "adapter", "a", "", "The config adapter, if the config file is neither JSON nor a Caddyfile")
	f.StringVar(&flags.site.Assistant, "assistant", "", "The id or alias of the assistant to ask; the default is that of a page that names none")
	f.StringVar(&flags.site.Question, "question", "Say hello in three sentences.", "What to ask")
	f.StringVar(&flags.site.Origin, "origin", "", "An origin whose pages should be allowed, such as https://www.example.com")
	f.BoolVar(&flags.site.NoChat, "no-chat", false, "Send no chat, so that the check costs nothing")
	f.BoolVar(&flags.site.Insecure, "insecure", false, "Accept any certificate")
	f.StringVar(&flags.site.Admin, "admin", "", "The address of the site's admin API, such as localhost:2019")
	f.BoolVar(&flags.json, "json", false, "Print one JSON object per line, and the totals in the last one")
	return c
}

// errUnhealthy lets Caddy exit with status 1. The findings say what is wrong, so it has no text of its own.
var errUnhealthy = errors.New("")

func (f *checkFlags) run(c *cobra.Command, args []string) error {
	if err := f.checkUse(c, args); err != nil {
		return err
	}
	printer := doctor.NewPrinter(c.OutOrStdout(), f.json, term.IsTerminal(int(os.Stdout.Fd())))
	var err error
	if f.config != "" {
		err = f.checkConfig(printer)
	} else {
		err = f.checkSite(c.Context(), args[0], printer)
	}
	if err != nil && !errors.Is(err, site.ErrInterrupted) {
		return err
	}
	healthy, notWritten := printer.Close()
	switch {
	case err != nil:
		return err
	case notWritten != nil:
		return notWritten
	case !healthy:
		c.SilenceErrors = true
		return errUnhealthy
	}
	return nil
}

// Flags that belong to one of the two kinds of check.
var (
	configFlags = []string{"adapter"}
	siteFlags   = []string{"assistant", "question", "origin", "no-chat", "insecure", "admin"}
)

// checkUse returns an error unless the command has either a URL or a config, and only flags that belong to it.
func (f *checkFlags) checkUse(c *cobra.Command, args []string) error {
	if (f.config == "") != (len(args) == 1) {
		return errors.New("check takes either a site's URL, such as https://example.com/api/chat-proxy, or --config <file>")
	}
	others, belong := siteFlags, "a site's URL; with --config, leave it out"
	if f.config == "" {
		others, belong = configFlags, "--config; with a site's URL, leave it out"
	}
	for _, name := range others {
		if c.Flags().Changed(name) {
			return fmt.Errorf("--%s belongs to %s", name, belong)
		}
	}
	return nil
}

// checkSite checks a running site. An interruption ends it, and so does a request to terminate, as a service manager or a
// container's stop sends it.
func (f *checkFlags) checkSite(ctx context.Context, url string, report doctor.Report) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	return site.Check(ctx, url, f.site, report)
}

// checkConfig checks a config file.
func (f *checkFlags) checkConfig(report doctor.Report) error {
	adapted, _, _, err := caddycmd.LoadConfig(f.config, f.adapter)
	if err != nil {
		return values.PrintableError(err)
	}
	return values.PrintableError(config.Check(adapted, inspect, report))
}
