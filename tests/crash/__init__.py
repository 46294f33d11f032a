"""`python -m tests.crash`: real processes, killed again and again, and a judge who knows what the server saw.

Processes die at random and at numbered points, on both kinds of store, against the simulator; then all is counted.

    points     the numbered moments of a task's life at which a process is killed
    ledger     what every process notes down before and after each step, kept through any kill
    load       what the processes have to do
    mortal     a worker process: the program itself, with thin wrappers in which it dies
    planted    bugs, one for each kind of promise, that the judge has to see
    server     the simulator as a process of its own
    campaign   the processes: started, killed, replaced, until every moment had its share
    judge      the server's log, the store, the ledger and the outputs, held against the law
    outcome    what a campaign is to do, and what it came to
    sharing    how long many processes take to share one organization's snapshots; ten starts at once
"""
