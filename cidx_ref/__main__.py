"""`python -m cidx_ref`: the same as the `cidx-ref` command."""

from cidx_ref.cli import main

raise SystemExit(main())
