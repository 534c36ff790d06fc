#!/usr/bin/env python3
# Runs a command: udp.py HOST PORT COMMAND
import socket
import sys

host, port, command = sys.argv[1:]
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(10)
    s.sendto(command.encode("utf-8"), (host, int(port)))
    print(s.recv(65535).decode("gbk"), end="")
