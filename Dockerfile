# Caddy with this module, built as the documentation of Caddy's official image describes it:
#
#	docker build --tag caddy-illumichat .
#
# "latest" is the module's newest release, or its newest commit if there is no release yet. Docker caches the result, so
# only --no-cache looks for a newer one. For a reproducible build, name a release or a commit:
#
#	docker build --build-arg ILLUMICHAT_VERSION=v1.2.3 --tag caddy-illumichat:2.11.9-v1.2.3 .
#
# example/compose has a Dockerfile with the Redis store, and a Compose file that runs it.

FROM caddy:2.11.9-builder AS builder

ARG ILLUMICHAT_VERSION=latest
RUN xcaddy build --with github.com/illumichat/caddy-illumichat@${ILLUMICHAT_VERSION}

FROM caddy:2.11.9

COPY --from=builder /usr/bin/caddy /usr/bin/caddy
