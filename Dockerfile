# Caddy with this module, built as the documentation of Caddy's official image describes it:
#
#	docker build --tag caddy-illumichat .
#
# The image has the newest release of the module. For another release, append its version to the module's path: @v1.2.3.
# example/compose has the same with the Redis store, and a Compose file that runs it.

FROM caddy:2.11.9-builder AS builder

RUN xcaddy build --with github.com/illumichat/caddy-illumichat

FROM caddy:2.11.9

COPY --from=builder /usr/bin/caddy /usr/bin/caddy
