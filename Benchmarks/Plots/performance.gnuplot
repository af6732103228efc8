# Plots of docs/performance.md, from the numbers beside them: run in docs/performance.
#
# A point for each way, with the quartiles of the rounds' ratios, and a cross for what is aimed at.
set datafile separator "\t"
set datafile missing "?"
set encoding utf8
set logscale x
set grid xtics lc rgb "#dddddd"
set key outside below horizontal samplen 1
set xlabel "times the baseline (logarithmic)"
set lmargin 46
set arrow 1 from 1, graph 0 to 1, graph 1 nohead lc rgb "#888888" dt 2

do for [plot in "calls processes"] {
  do for [pinning in "pinned unpinned"] {
    name = plot."-".pinning
    rows = int(system("test -f ".name.".tsv && wc -l < ".name.".tsv || echo 0")) - 1
    if (rows < 1) { continue }
    set terminal svg size 900, 140 + 34 * rows noenhanced font "sans-serif,12" background "#ffffff"
    set output name.".svg"
    set yrange [rows - 0.3 : -0.5]
    set title (plot eq "calls" ? "Calls" : "Processes and programs").(pinning eq "pinned" ? ", the work on one CPU" : ", unpinned")
    plot name.".tsv" every ::1 using 4:1:5:6:ytic(2) with xerrorbars lc rgb "#1f77b4" pt 7 ps 0.8 title "pod", \
         name.".tsv" every ::1 using 7:($1 + 0.2):8:9 with xerrorbars lc rgb "#ff7f0e" pt 5 ps 0.6 title "pod, ptrace backend", \
         name.".tsv" every ::1 using 10:($1 + 0.4):11:12 with xerrorbars lc rgb "#2ca02c" pt 9 ps 0.6 title "proot", \
         name.".tsv" every ::1 using 3:1 with points lc rgb "#d62728" pt 2 ps 1.2 lw 2 title "target"
    unset output
  }
}
