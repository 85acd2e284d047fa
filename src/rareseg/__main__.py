"""``python -m rareseg``, where no script is installed."""

from rareseg.cli import main

main()
