#!/usr/bin/env python3
"""Watches the machine or one program for the bench, and prints JSON.

  python bench/watch.py idle SECONDS        the share of processor time that nobody uses, and what the machine is
  python bench/watch.py run PROGRAM ...     runs a program: peak memory, and when each line that starts with "{" came

Peak memory is the kernel's own (ru_maxrss of wait4), the same for any program. Where there is an NVIDIA GPU, its memory
in use is asked ten times a second as well, less what was in use before.
"""
import json, os, platform, shutil, subprocess, sys, threading, time


def processor_times():
    with open("/proc/stat", encoding="ascii") as file:
        times = [int(word) for word in file.readline().split()[1:9]]
    return times[3] + times[4], sum(times)


def idle(seconds):
    idle_before, all_before = processor_times()
    time.sleep(seconds)
    idle_after, all_after = processor_times()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = file.read().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) * 1024
    return dict(idle=(idle_after - idle_before) / max(1, all_after - all_before), load=os.getloadavg()[0],
                processor=names[0] if names else platform.machine(), cores=os.cpu_count(), memory_bytes=memory,
                widest="AVX512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2")


def device_bytes():
    asked = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()[0]) * 2**20


class DeviceWatch(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.before, self.peak, self.done = device_bytes(), 0, threading.Event()

    def run(self):
        while not self.done.wait(0.1):
            self.peak = max(self.peak, device_bytes() - self.before)


def run(command):
    watch = DeviceWatch() if shutil.which("nvidia-smi") else None
    if watch:
        watch.start()
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1)
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    lines = [dict(seconds=time.monotonic() - started, text=line.rstrip("\n")) for line in process.stdout if line.startswith("{")]
    reader.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if watch:
        watch.done.set()
    return dict(exit=process.returncode, lines=lines, error=errors[0][-1500:], peak_bytes=usage.ru_maxrss * 1024,
                processor_seconds=usage.ru_utime + usage.ru_stime, device_peak_bytes=watch.peak if watch else None)


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    print(json.dumps(idle(float(words[0])) if what == "idle" else run(words)))
