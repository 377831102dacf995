"""Benchmarks: the daemon beside its references, in alternating bursts. They measure; no test depends on a time.

    python -m tests.benchmarks                      everything but G9, some minutes
    python -m tests.benchmarks --quick              to see that it works
    python -m tests.benchmarks --only G1,G7 --rounds 30 --json FILE

from the repository's root, with the interpreter of the environment that has the package. `mosquitto` must be installed;
broker, CSMS, load and references are started and ended here. Only ratios measured side by side in one run count: the
table gives the median of the rounds' ratios, and a control, two processes of the same reference, which must lie in
0.97..1.03; where it doesn't, the machine was busy and the run says nothing.

S is the straight line (aiomqtt, websockets, json), T the same with aiomqtt hooked, O the same with the ocpp library's
defaults: see `reference`. CK is the delay from ChangeConfiguration to the retained `configuration_key` topics.
"""
