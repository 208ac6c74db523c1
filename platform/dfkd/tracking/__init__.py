"""Runs, their images and the registry of students: all that this platform says to MLflow.

Reading order: ``protocol`` (what a run can be told) -> ``mlflow_tracker`` (the runs of one search) -> ``journal``
(every event on disk first) -> ``delivery`` (the thread that empties it) -> ``mlflow_store`` (what an event becomes).
``abandoned`` ends what killed commands left open. Beside them ``home`` and ``connection`` (where and which MLflow),
``credentials`` (what of an address people may see), ``lock`` (one process at a time);
``card``, ``model_package``, ``registry`` and ``registry_reading`` (students and teachers as versions).

MLflow takes seconds to import: ``connection.import_mlflow`` does it, at first use, and nothing here does it earlier.
Only the driver and short scripts come here; a Ray worker reports to the driver.
"""
