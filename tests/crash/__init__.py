"""`python -m tests.crash`: real processes, killed again and again, and a judge who knows what the server saw.

    points     the numbered moments of a task's life at which a process is killed
    ledger     what every process notes down before and after each step, kept through any kill
    mortal     a worker process: the program itself, with thin wrappers in which it dies
    planted    bugs, one for each kind of promise, that the judge has to see
    campaign   the processes: started, killed, replaced, until every moment had its share
    judge      what the server's log, the store, the ledger and the outputs say against the law
    sharing    how long many processes take to share one organization's snapshots
"""
