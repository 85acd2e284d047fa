"""``python -m rareseg.cli``, where no script is installed."""

from rareseg.cli import main

main()
