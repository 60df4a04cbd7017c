"""What is wrong with the flags, in one line for the operator."""


class FlagError(ValueError):
    """A flag is unknown, incomplete or wrong; the message names it."""


class UsageError(FlagError):
    """The command line cannot be read. Source: etcd ends with status 2 then, else with 1."""
