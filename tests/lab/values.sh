# Prints each runtime value that numatune can write, and what follows from kernel arguments and partitions: "path value" lines.
cd /sys/devices/system/cpu || exit
for file in /proc/sys/kernel/numa_balancing /proc/cmdline /proc/irq/default_smp_affinity /proc/irq/*/smp_affinity_list \
    $PWD/isolated $PWD/nohz_full $PWD/cpufreq/policy*/scaling_governor $PWD/cpufreq/policy*/energy_performance_preference \
    $PWD/cpu*/power/pm_qos_resume_latency_us $PWD/cpu*/cpuidle/state*/disable /sys/devices/virtual/workqueue/cpumask \
    /sys/fs/cgroup/cpuset.cpus.isolated /sys/fs/cgroup/*.slice/cpuset.cpus*; do
    [ ! -f "$file" ] || echo "${file#/} $(cat "$file")"
done
echo "irqbalance $(systemctl is-enabled irqbalance) $(systemctl is-active irqbalance)"
