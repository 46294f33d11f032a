"""`python -m tests.chaos`: the program's own processes while everything around them fails at once.

Processes are killed, stopped for longer than the grace, and hung up on; their database sessions are cut, the server
is stopped and started, the folder of lock files is cleaned; the network answers pages, resets, or nothing; somebody
else uses up the quota. Then all is let be, every run has to come to its end, and the server's record is judged.

    gateway    the network between the program and the API, as a process of its own
    crews      the runs, and the processes that carry them on until they have ended
    troubles   all that is done to them
    store_files  a campaign of its own: the file of a SQLite store under its processes
    verdict    the server's record, the store and the outputs, held against the promises
"""
