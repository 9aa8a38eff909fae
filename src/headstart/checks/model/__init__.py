"""Checks of trainings, one file each: `m201_overfits`, …"""
