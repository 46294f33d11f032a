"""What it costs, as ratios within one run: `make bench` prints the table of docs/benchmarks.md.

row        one line of the table
startup    the command line against bare interpreters
jobfile    20,000 lines against a plain YAML load
queue      enqueuing, and a task's three commits, in short and long queues
memory     a worker over a short and a long queue
long_plans a plan of 100,000 snapshots and one of a million, on their way into the store
makespan   whole runs against the shortest time the limit allows, and against a simple loop
scale      10,000 organizations at the API's own ceiling
whole      the whole command over HTTP, beside a bare loop of requests
loop       that loop
relay      the whole command, and PostgreSQL a millisecond away
history    looks and starts in a store with a long history
peers      the command beside what people write or take instead
clients    those, each as its documentation says
server     the cheap server that both talk to
echo       an API that says yes to everything, in virtual time
plans      the tasks that are measured with
probe      what is measured in a process of its own
"""
