"""What prometheus_client tells of each process: named, so that the list is whole. Pure."""

from __future__ import annotations

from gateway.telemetry.definition import Definition, OverWorkers, counter, gauge


def _of_worker(name: str, help: str) -> Definition:
    return gauge(name, help, over_workers=OverWorkers.LABEL)


PROCESS_METRICS = (
    _of_worker("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    _of_worker("process_resident_memory_bytes", "Resident memory size in bytes."),
    _of_worker(
        "process_start_time_seconds", "Start time of the process since unix epoch in seconds."
    ),
    counter("process_cpu_seconds", "Total user and system CPU time spent in seconds."),
    _of_worker("process_open_fds", "Number of open file descriptors."),
    _of_worker("process_max_fds", "Maximum number of open file descriptors."),
    gauge(
        "python_info",
        "Python platform information",
        "implementation",
        "major",
        "minor",
        "patchlevel",
        "version",
        over_workers=OverWorkers.MAX,
    ),
    counter("python_gc_objects_collected", "Objects collected during gc", "generation"),
    counter(
        "python_gc_objects_uncollectable", "Uncollectable objects found during GC", "generation"
    ),
    counter("python_gc_collections", "Number of times this generation was collected", "generation"),
)
