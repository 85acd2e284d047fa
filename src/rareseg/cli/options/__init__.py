"""Options: arguments that several commands share, and records of options that belong together.

In go the words of the command line. Out come the records that functions take. Imports no command.
"""
