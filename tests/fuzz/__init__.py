"""`python -m tests.fuzz`: what comes from outside, made up by a coverage-guided fuzzer, through the readers.

A reader may raise the program's own errors and nothing else, takes a second of processor time at the most, and the
process that reads stays below 256 MB. What the fuzzer found worth keeping is in `corpus`, and every test run reads it.

    readers    one function for each kind of text from outside
    fuzzing    one reader, one process, as many executions as asked for
    corpus     an archive for each reader: what the fuzzer kept
"""
