"""`python -m pqadapters run`: an unchanged program with the durable classes in place of the standard library's.

    command.py      the command
    options.py      its command line
    swaps.py        which modules have a durable mirror; which of them a run swaps
    ownership.py    which modules are the program's own
    rewriting.py    imports of the former in the latter, as imports of stand-ins
    standins.py     the modules that stand in: the standard library's, with some names of ours
    bytecode.py     rewritten code, kept beside the program's own
    finder.py       what hands the rewritten code to Python's loaders
    hiding.py       modules of the program's that hide some of the standard library's
    program.py      the main module, and its end
    children.py     processes that multiprocessing starts anew
    explanation.py  `--explain`

Nothing of the standard library is changed, but for what multiprocessing tells its children. Modules of ours that are
durable are imported when the program imports what they stand for.
"""
