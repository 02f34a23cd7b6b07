from overlay.interrupts import quiet

quiet()
