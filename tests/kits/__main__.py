"""python -m kits URL [KIT...]: runs kits against a server that is there. The timeout kits and the storm need one that was started for them.

SPDX-License-Identifier: Apache-2.0
"""
import sys

from kits import contract, ends, idle, malformed, storm

KITS = {
    "contract": contract.run,
    "abort-all": ends.abort_all,
    "rude-clients": ends.rude_clients,
    "malformed": malformed.run,
    "storm": storm.run,
    "idle": idle.wait_idle,
    "waiting-timeout": lambda url: ends.waiting_timeout(url, 2, 6),
    "running-timeout": lambda url: ends.running_timeout(url, 6),
}
USUAL = ("contract", "abort-all", "rude-clients", "malformed", "idle")


def main(arguments):
    names = arguments[1:] or USUAL
    if not arguments or any(name not in KITS for name in names):
        print(__doc__, "\nkits:", ", ".join(KITS), file=sys.stderr)
        return 2
    failed = 0
    for name in names:
        try:
            KITS[name](arguments[0].rstrip("/"))
            print(f"{name}: passed")
        except AssertionError as error:
            failed += 1
            print(f"{name}: FAILED: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
