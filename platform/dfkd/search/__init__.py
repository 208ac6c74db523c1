"""Search spaces, Optuna, and honest selection. Only ``optuna_space`` imports Optuna; nothing here imports Ray.

``space``         a file of ``search_spaces/`` -> checked settings; parameters -> an experiment
``corners``       one parameter: can its range be right?
``optuna_space``  distributions, sampler, and the study on disk
``selection``     which trial is the best, and when two are equal
``trust``         how far the choice without labels can be trusted, where labels exist to tell
"""
