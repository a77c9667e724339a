"""What a fault is, and which there are: importing chaos.faults fills the table."""

LONGEST_S = 10  # for an event that a fault waits for

FAULTS = {}
_POSSIBLE = {}  # of faults that not every machine can do: how that is known


def fault(group, possible=None):
    def note(function):
        function.group = group
        FAULTS[function.__name__] = function
        if possible:
            _POSSIBLE[function.__name__] = possible
        return function
    return note


def available(name):
    return name not in _POSSIBLE or _POSSIBLE[name]()
